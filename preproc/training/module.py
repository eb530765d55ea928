"""One stage of training as a Lightning module."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from preproc.errors import RecipeError
from preproc.metrics import CAJNN_PROTOCOL, psnr
from preproc.networks.cajnn import CAJNN
from preproc.networks.cisrnet import CISRNet
from preproc.networks.inference import Compilable
from preproc.samples import Pixels, from_float, to_float
from preproc.training.curve import Point
from preproc.training.losses import PIXEL_LOSSES, make_perceptual
from preproc.training.optimizer import make_optimizer
from preproc.training.recipe import Stage
from preproc.training.schedule import learning_rate
from preproc.training.together import agree

_LOOK_EVERY = 50  # steps between looks at the loss

Batch = tuple[Tensor, Tensor, Tensor]


class Restoration(pl.LightningModule):
    """Fits a network to pairs of degraded and sharp pictures.

    Attributes:
        network: what is trained and exported.
        clock: minutes of training so far, over all runs of the stage; measuring and saving apart.
        curve: what was measured so far, over all runs of the stage.
        waited: minutes this run has spent waiting for batches.

    Args:
        stage: the recipe.
        network: as the recipe describes it, with its initial weights.
        init_from: where those come from, for the record.
        compiled: whether to compile the repeated blocks; validation stays eager.
    """

    def __init__(
        self, stage: Stage, network: nn.Module, *, init_from: str = "", compiled: bool = False
    ) -> None:
        super().__init__()
        self.stage = stage
        self.network = network
        self.init_from = init_from
        self.clock = 0.0
        self.curve: list[Point] = []
        self.waited = 0.0
        self.lr_head = _lr_head(stage, network)
        # Several processes wait for the gradients of all that may have one.
        network.requires_grad_(requires_grad=False)
        _part(stage, network).requires_grad_(requires_grad=True)
        # One graph for all blocks takes seconds to make; one of the whole network, minutes.
        if compiled and isinstance(network, Compilable):
            network.compile_blocks()
        self._perceptual = make_perceptual(stage.loss)
        self._began = self._ended = 0.0
        self._timed = 0.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's over what the stage trains; the rate is set before every step."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return make_optimizer(self.stage.optimizer, trained)

    def progress(self) -> float:
        """Steps or minutes done, as the schedule counts; the same for all processes."""
        return self.global_step if self.stage.schedule.unit == "steps" else self._timed

    def on_fit_start(self) -> None:
        """Agree on the clock; bring the perceptual loss, which is not part of the state, over."""
        self._timed = self.trainer.strategy.broadcast(self.clock)
        if self._perceptual is not None:
            self._perceptual.trunk.to(self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        """Set the rate; end the stage when its schedule has."""
        self._timed = agree(self.trainer, self.clock, self._timed)
        if self.progress() >= self.stage.schedule.length:
            self.trainer.should_stop = True
            return -1  # skips the rest of the epoch
        rate = learning_rate(self.stage.schedule, self.stage.optimizer.lr, self.progress())
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        self._began = time.perf_counter()
        if self._ended:
            self.waited += (self._began - self._ended) / 60
        return None

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ANN401
        """Advance the clock.

        Raises:
            RecipeError: the loss is no longer finite; further training would not repair it.
        """
        self._ended = time.perf_counter()
        self.clock += (self._ended - self._began) / 60
        # Not every step, because asking makes a GPU wait.
        if self.global_step % _LOOK_EVERY == 1 and not outputs["loss"].isfinite():
            raise RecipeError(
                f"{self.stage.name}: the loss is not finite at step {self.global_step}. Lower "
                "optimizer.lr, set optimizer.clip, or train with --precision 32; some bfloat16 "
                "kernels fail at odd numbers of channels."
            )

    def on_validation_end(self) -> None:
        """Keep what was measured, and do not count it as waiting for data."""
        self._ended = 0.0
        metrics = self.trainer.callback_metrics
        psnr = {name: float(v) for name, v in metrics.items() if name.startswith("psnr_q")}
        self.curve.append(Point(self.clock, self.global_step, psnr))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch of uint8 tensors: degraded LR, clean LR and HR, each (N, 3, H, W).

        The log has it as ``loss``, and where it is a sum, its parts before their weights as
        ``loss_pixel``, ``loss_perceptual`` and ``loss_lr``.
        """
        degraded, clean, sharp = map(to_float, batch)
        degraded = degraded.contiguous(memory_format=torch.channels_last)
        settings = self.stage.loss
        if self.lr_head is not None:
            assert isinstance(self.network, CAJNN)
            features = self.network.extract(degraded)
            output = self.network.upsample(features, degraded)
        else:
            output = self._restored(degraded)
        parts = {"pixel": PIXEL_LOSSES[settings.pixel](output, sharp)}
        loss = settings.pixel_weight * parts["pixel"]
        if self._perceptual is not None:
            parts["perceptual"] = self._perceptual(output, sharp)
            loss = loss + settings.perceptual_weight * parts["perceptual"]
        if self.lr_head is not None:
            parts["lr"] = F.l1_loss(self.lr_head(features), clean)
            loss = loss + settings.lr_weight * parts["lr"]
        self.log("loss", loss.detach(), prog_bar=True, on_step=True)
        if len(parts) > 1:
            for name, part in parts.items():
                self.log(f"loss_{name}", part.detach())
        self.log("minutes", self.clock)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Log PSNR on Y of one picture at one quality, by CAJNN's protocol; returns the output."""
        lr, hr, quality = batch
        picture = to_float(lr).contiguous(memory_format=torch.channels_last)
        # Pictures of other sizes than the patches would compile the blocks anew.
        with torch.compiler.set_stance("force_eager"):
            output = self._restored(picture)
        restored, reference = pixels_of(output), pixels_of(hr)
        value = psnr(restored, reference, CAJNN_PROTOCOL, self.stage.scale)
        self.log(f"psnr_q{int(quality)}", value, batch_size=1, sync_dist=True)
        self.log("psnr", value, batch_size=1, prog_bar=True, sync_dist=True)
        return torch.from_numpy(restored)

    def _restored(self, x: Tensor) -> Tensor:
        """What the stage trains makes of (N, 3, H, W): of CISRNet, it may be the coarse half."""
        network = self.network
        if self.stage.loss.part == "coarse":
            assert isinstance(network, CISRNet)
            network = network.coarse
        output: Tensor = network(x)
        return output

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clock, the curve, the recipe and the origin with the weights."""
        checkpoint["clock"] = self.clock
        checkpoint["curve"] = [asdict(point) for point in self.curve]
        checkpoint["stage"] = self.stage.as_table()
        checkpoint["init_from"] = self.init_from

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the saved minute, with the same curve and origin."""
        self.clock = checkpoint["clock"]
        self.curve = [Point(**point) for point in checkpoint["curve"]]
        self.init_from = checkpoint["init_from"]


def pixels_of(picture: Tensor) -> Pixels:
    """The first picture of a batch (N, 3, H, W), uint8 or float in [0, 1], as an array."""
    array: Pixels = from_float(to_float(picture[0]), torch.uint8).permute(1, 2, 0).cpu().numpy()
    return array


def _part(stage: Stage, network: nn.Module) -> nn.Module:
    if stage.loss.part == "all":
        return network
    if not isinstance(network, CISRNet):
        raise RecipeError(
            f'part = "{stage.loss.part}" trains CISRNet only, but the model is {stage.model}.'
        )
    part = network.coarse if stage.loss.part == "coarse" else network.fine
    if not any(True for _ in part.parameters()):
        raise RecipeError(f"{stage.model} has no fine half to train; take the whole network.")
    return part


def _lr_head(stage: Stage, network: nn.Module) -> nn.Conv2d | None:
    """Reconstructs the clean LR picture from CAJNN's trunk features (eq. 8, Table V)."""
    if not stage.loss.lr_weight:
        return None
    if not isinstance(network, CAJNN):
        raise RecipeError(f"lr_weight belongs to CAJNN, but the model is {stage.model}.")
    return nn.Conv2d(network.conv_first.out_channels, 3, 3, padding=1)

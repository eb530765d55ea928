"""What the scripts share as commands: options, messages, progress and exit codes."""

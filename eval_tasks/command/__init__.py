"""What the scripts share as commands: options, versions and exit codes."""

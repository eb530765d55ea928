"""What the scripts share as commands: options, tables and exit codes."""

"""What every package may use: errors, time, disk, durable files, child processes, logs."""

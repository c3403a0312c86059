"""What people talk to: command line, controller, evaluation, metrics, reports."""

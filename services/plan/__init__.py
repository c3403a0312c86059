"""What a run would take on machines that are not there: a simulation of the loop, and a search."""

"""Commands of ``coevolve`` that need no run: graders, templates and the recycler on files."""

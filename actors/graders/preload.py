"""Imported by the fork server, never by hand: grader processes start with everything loaded.

Loading sympy and the LaTeX grammar takes seconds; a process forked from here has them at once.
"""

from actors.graders import symbolic

symbolic.warm_up()

"""An exported folder in other programs: the commands that run it there, and a plug-in for lmms-eval."""

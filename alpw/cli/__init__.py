"""The command line: `alpw`, and `al_pwmlff` for hands used to the predecessor."""

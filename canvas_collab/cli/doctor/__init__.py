"""The command ``doctor``: checks of a deployment, each with a finding and its remedy."""

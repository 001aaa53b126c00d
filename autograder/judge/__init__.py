"""The verdict: what a notebook's answers are worth, found where the notebook cannot reach."""

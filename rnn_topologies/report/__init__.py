"""The HTML report, its charts, and figures of explanations."""

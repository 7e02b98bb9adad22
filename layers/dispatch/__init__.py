"""How a layer runs over time: the plan, and one file per way of running."""

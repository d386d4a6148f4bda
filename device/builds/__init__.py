"""The three reference builds, as complete configurations; their heads tell what to buy and where to wire it."""

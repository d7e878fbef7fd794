"""A model on the nodes of a Ray cluster: one worker a node, each with a model of its own."""

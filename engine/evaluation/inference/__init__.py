"""What comparisons of conditions are worth: levels, likeness within templates, scores, differences, other seeds."""

ENOUGH_CLUSTERS = 10

"""The published dipstick rule as a model: findings in, level and probability out."""

"""AdamW with warm-up and one cosine, for runs of minutes."""

optimizer = dict(type="AdamW", lr=5e-4, weight_decay=0.01, param_groups={})
schedule = dict(type="cosine", warmup_steps=100, min_ratio=0.02)

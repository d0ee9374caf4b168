"""How often things happen, with the values that suit a real run; tiny configs change them."""

train = dict(
    max_steps=None,
    epochs=None,
    grad_clip=35.0,
    accumulate=1,  # batches per update
    precision="fp32",
    max_skipped=20,  # fp16: updates in a row that may overflow
    gradient_checkpointing=None,  # as the model's with_cp say
    ema=None,
    log_every=50,
    val_every=0,  # after the last step only
    picture_every=2000,  # of models with AQR
    save_every=2000,
    keep=2,
    best="NDS",
    trackers=(),
    find_unused_parameters=False,
)
load_from = None
seed = 0

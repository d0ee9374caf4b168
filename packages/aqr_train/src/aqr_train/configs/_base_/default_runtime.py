"""How often things happen, with the values that suit a real run; tiny configs change them."""

train = dict(
    max_steps=None,
    epochs=None,
    grad_clip=35.0,
    precision="fp32",
    log_every=50,
    val_every=0,  # after the last step only
    picture_every=2000,  # of models with AQR
    save_every=2000,
    keep=2,
    find_unused_parameters=False,
)
load_from = None
seed = 0

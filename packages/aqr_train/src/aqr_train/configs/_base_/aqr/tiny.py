"""The blocks of AQR in the size of `cmt_tiny`."""

_generator = dict(
    type="AQRWeightGenerator",
    embed_dims=128,
    num_heads=4,
    feedforward_channels=256,
    dropout=0.0,
    window_sizes=[4, 5],  # [camera, lidar]
)
_bias = dict(type="AttentionBiasGenerator", window_size=[4, 5])
_renderer = dict(type="WeightRenderer")
_modulator = dict(type="FeatureModulator", embed_dims=128)

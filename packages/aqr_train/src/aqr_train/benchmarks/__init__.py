"""What `aqr benchmark` measures: one module per benchmark."""

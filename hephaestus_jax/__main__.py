"""`python -m hephaestus_jax` is `hephaestus`."""

from hephaestus_jax import main

main.main()

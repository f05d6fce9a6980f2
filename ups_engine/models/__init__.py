"""The networks: encoder and decoder of fields, the latent operator, its correctors, and the steady prior."""

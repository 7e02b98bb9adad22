"""Classical baselines that every recurrent model is compared with."""

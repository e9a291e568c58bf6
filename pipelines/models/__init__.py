"""Trained models: servable form, registry, evaluation, promotion, deblurring."""

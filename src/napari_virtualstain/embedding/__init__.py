"""From the features of crops to profiles of treatments, and what profiles are good for."""

"""Methods that predict stains: what each is called, needs, and how it is built."""

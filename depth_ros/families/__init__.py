"""The model families: what each is (a `Family`) and how its graphs are called."""

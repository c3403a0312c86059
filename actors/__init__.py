"""Ray actors: generators, verifier pool, recycler, learner ranks, weight transfer."""

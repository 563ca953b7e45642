-- Readiness: the server answers, and its state is the one we know.

return 1

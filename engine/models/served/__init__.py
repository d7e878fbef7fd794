"""The backend for servers: one or many that speak the completions API of OpenAI."""

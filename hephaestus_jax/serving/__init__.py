"""A checkpoint behind the OpenAI API."""

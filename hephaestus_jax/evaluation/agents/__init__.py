"""AgentBench: environments, the loop between them and an agent, scores."""

"""The chat protocol of the AI SDK's `useChat`."""

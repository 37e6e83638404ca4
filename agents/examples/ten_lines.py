"""An agent in ten lines. Run it beside a mesh, then: muster call text.shout '{"text": "hello"}'"""

from muster.agent import Agent

agent = Agent("shouter")


@agent.capability("text.shout")
async def shout(text: str) -> str:
    return text.upper() + "!"


if __name__ == "__main__":
    agent.run()

"""Two kinds of agents that tell each other what happens. Run it beside a mesh, then:
muster call orders.place '{"item": "tea"}', and in another terminal: muster events tail 'topic.>'"""

from muster.agent import Agent, Context, Event, Host

shop = Agent("shop")
clerks = [Agent(f"clerk-{number}", kind="clerks") for number in (1, 2)]


@shop.capability("orders.place")
async def place(ctx: Context, item: str) -> str:
    await ctx.publish("orders.placed", {"item": item})
    return f"{item} is ordered"


@clerks[0].on("orders.>", competing=True)
@clerks[1].on("orders.>", competing=True)  # one of the two gets each order
async def pack(event: Event, ctx: Context) -> None:
    await ctx.publish("parcels.packed", event.data)


if __name__ == "__main__":
    Host([shop, *clerks]).run_forever()

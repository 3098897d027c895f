import { EngagementClient, EngagementError, type EventInit } from "@engagement-attributes/client";

const server = process.env.ENGAGEMENT_SERVER ?? "127.0.0.1:50051";
const client = new EngagementClient(server, { accountId: "demo-typescript" });

const vip: EventInit["attributes"] = { case: "customerInfo", value: { customerType: "VIP", balance: "12.50" } };
await client.recordEvent({ eventId: "visit-19/1", consumerId: "visitor-19", attributes: vip });

const subject = { case: "consumerId", value: "visitor-19" } as const;
const { profile } = await client.events.getProfile({ accountId: client.accountId, subject });
console.log(`profile: ${profile?.customerInfo?.customerType} ${profile?.customerInfo?.balance}`);

const source = `orders.csv/${new Date().toISOString().slice(0, 10)}`; // the file's name and day
function* orders(): Generator<EventInit> {
  for (let n = 0; n < 10_000; n++) {
    yield { eventId: `${source}/${n}`, attributes: { case: "customerInfo", value: { customerId: `NW-${n}` } } };
  }
}
const { tally } = await client.upload(orders(), { uploadId: source });
console.log(`${tally.accepted} stored, ${tally.rejected} rejected`);

const filter = { consumerIds: ["visitor-19"] };
for await (const { event } of client.follow({ earliest: true, stopAtTail: true, filter })) {
  console.log(`followed ${event?.eventId}`);
}

try {
  await client.recordEvent({ consumerId: "x".repeat(50_001), attributes: vip });
} catch (error) {
  if (!(error instanceof EngagementError)) {
    throw error;
  }
  console.log(error.toString());
}

client.close();

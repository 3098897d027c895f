// Generated: every message, enum and service of the contract.
export * from "./access_pb.js";
export * from "./attributes_pb.js";
export * from "./entity_service_pb.js";
export * from "./error_reason_pb.js";
export * from "./event_pb.js";
export * from "./event_service_pb.js";
export * from "./ingest_service_pb.js";
export * from "./privacy_service_pb.js";
export * from "./scope_pb.js";
export * from "./server_service_pb.js";

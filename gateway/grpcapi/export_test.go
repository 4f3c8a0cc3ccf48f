package grpcapi

// BroadcastInFlight is how many events of a stream may wait for their acks.
const BroadcastInFlight = broadcastInFlight

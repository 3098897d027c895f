//! How messages are encoded and decoded: tonic's codec over buffa's messages.

use std::marker::PhantomData;

use buffa::{DecodeOptions, Message};
use bytes::{BufMut, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::v1::UploadEventsResponse;

/// Received messages are bounded by their size on the wire; this limit must not refuse any of those.
const MAX_DECODED_ELEMENT_BYTES: usize = 1 << 30;

/// Encodes messages of one type, decodes those of another.
pub(crate) struct MessageCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for MessageCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + 'static, U: Message + 'static> Codec for MessageCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = MessageEncoder<T>;
    type Decoder = MessageDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

pub(crate) struct MessageEncoder<T>(PhantomData<T>);

impl<T: Message + 'static> Encoder for MessageEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.try_encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

pub(crate) struct MessageDecoder<U>(PhantomData<U>);

impl<U: Message + 'static> Decoder for MessageDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        DecodeOptions::new()
            .with_element_memory_limit(MAX_DECODED_ELEMENT_BYTES)
            .decode(buffer)
            .map(Some)
            .map_err(|error| Status::internal(format!("the server's message cannot be read: {error}")))
    }
}

/// A serialized request of an upload.
#[derive(Clone)]
pub(crate) struct Frame {
    pub head: Bytes,
    pub events: Bytes,
}

impl<T: Message> From<&T> for Frame {
    fn from(message: &T) -> Self {
        Self { head: message.encode_to_bytes(), events: Bytes::new() }
    }
}

/// The codec of uploads: a chunk is serialized once, on arrival of its events, and resent unchanged.
pub(crate) struct UploadCodec;

impl Codec for UploadCodec {
    type Encode = Frame;
    type Decode = UploadEventsResponse;
    type Encoder = FrameEncoder;
    type Decoder = MessageDecoder<UploadEventsResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

pub(crate) struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.head.len() + frame.events.len());
        buffer.put(frame.head);
        buffer.put(frame.events);
        Ok(())
    }
}

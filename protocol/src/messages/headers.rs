//! Headers of requests and responses. Their versions are chosen by [`frame`](crate::frame).

message! {
    /// Comes before every request. The client id is never compact, so that a broker can read it whatever the
    /// version.
    request_header: RequestHeader, versions 1-2, flexible 2+ {
        request_api_key:     int16,  0+;
        request_api_version: int16,  0+;
        correlation_id:      int32,  0+;
        client_id:           string, 1+ nullable 1+, never_compact;
    }
}

message! {
    /// Comes before every response.
    response_header: ResponseHeader, versions 0-1, flexible 1+ {
        correlation_id: int32, 0+;
    }
}

//! Authentication, and credentials for SCRAM.

message! {
    /// Chooses a SASL mechanism (KIP-43); v1 wraps what follows in `SaslAuthenticateRequest` (KIP-152).
    sasl_handshake_request: SaslHandshakeRequest, versions 0-1, flexible never {
        mechanism: string, 0+;
    }
}

message! {
    /// Answers `SaslHandshakeRequest`: the mechanisms that the broker has.
    sasl_handshake_response: SaslHandshakeResponse, versions 0-1, flexible never {
        error_code: error_code, 0+;
        mechanisms: [string],   0+;
    }
}

message! {
    /// Carries the messages of a SASL mechanism (KIP-152).
    sasl_authenticate_request: SaslAuthenticateRequest, versions 0-2, flexible 2+ {
        auth_bytes: bytes, 0+;
    }
}

message! {
    /// Answers `SaslAuthenticateRequest`: the next message; v1 adds the session's lifetime (KIP-368).
    sasl_authenticate_response: SaslAuthenticateResponse, versions 0-2, flexible 2+ {
        error_code:          error_code, 0+;
        error_message:       string,     0+ nullable 0+;
        auth_bytes:          bytes,      0+;
        session_lifetime_ms: int64,      1+, ignorable;
    }
}

message! {
    /// Lists the SCRAM credentials of users (KIP-554).
    describe_user_scram_credentials_request: DescribeUserScramCredentialsRequest, versions 0, flexible 0+ {
        users: [UserName], 0+ nullable 0+;
    }
    UserName {
        name: string, 0+;
    }
}

message! {
    /// Answers `DescribeUserScramCredentialsRequest`: mechanisms and iterations, never secrets.
    describe_user_scram_credentials_response: DescribeUserScramCredentialsResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,                                0+;
        error_code:       error_code,                           0+;
        error_message:    string,                               0+ nullable 0+;
        results:          [DescribeUserScramCredentialsResult], 0+;
    }
    DescribeUserScramCredentialsResult {
        user:             string,           0+;
        error_code:       error_code,       0+;
        error_message:    string,           0+ nullable 0+;
        credential_infos: [CredentialInfo], 0+;
    }
    CredentialInfo {
        mechanism:  int8,  0+;
        iterations: int32, 0+;
    }
}

message! {
    /// Sets and deletes SCRAM credentials (KIP-554).
    alter_user_scram_credentials_request: AlterUserScramCredentialsRequest, versions 0, flexible 0+ {
        deletions:  [ScramCredentialDeletion],  0+;
        upsertions: [ScramCredentialUpsertion], 0+;
    }
    ScramCredentialDeletion {
        name:      string, 0+;
        mechanism: int8,   0+;
    }
    ScramCredentialUpsertion {
        name:            string, 0+;
        mechanism:       int8,   0+;
        iterations:      int32,  0+;
        salt:            bytes,  0+;
        salted_password: bytes,  0+;
    }
}

message! {
    /// Answers `AlterUserScramCredentialsRequest`: a result per user.
    alter_user_scram_credentials_response: AlterUserScramCredentialsResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,                             0+;
        results:          [AlterUserScramCredentialsResult], 0+;
    }
    AlterUserScramCredentialsResult {
        user:          string,     0+;
        error_code:    error_code, 0+;
        error_message: string,     0+ nullable 0+;
    }
}

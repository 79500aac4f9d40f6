//! Delegation tokens (KIP-48).

message! {
    /// Makes a delegation token (KIP-48), for another owner from v3 (KIP-373).
    create_delegation_token_request: CreateDelegationTokenRequest, versions 1-3, flexible 2+ {
        owner_principal_type: string,              3+ nullable 3+;
        owner_principal_name: string,              3+ nullable 3+;
        renewers:             [CreatableRenewers], 0+;
        max_lifetime_ms:      int64,               0+;
    }
    CreatableRenewers {
        principal_type: string, 0+;
        principal_name: string, 0+;
    }
}

message! {
    /// Answers `CreateDelegationTokenRequest`: the token and its HMAC.
    create_delegation_token_response: CreateDelegationTokenResponse, versions 1-3, flexible 2+ {
        error_code:                     error_code, 0+;
        principal_type:                 string,     0+;
        principal_name:                 string,     0+;
        token_requester_principal_type: string,     3+;
        token_requester_principal_name: string,     3+;
        issue_timestamp_ms:             int64,      0+;
        expiry_timestamp_ms:            int64,      0+;
        max_timestamp_ms:               int64,      0+;
        token_id:                       string,     0+;
        hmac:                           bytes,      0+;
        throttle_time_ms:               int32,      0+;
    }
}

message! {
    /// Renews a delegation token (KIP-48).
    renew_delegation_token_request: RenewDelegationTokenRequest, versions 1-2, flexible 2+ {
        hmac:            bytes, 0+;
        renew_period_ms: int64, 0+;
    }
}

message! {
    /// Answers `RenewDelegationTokenRequest`: when it expires.
    renew_delegation_token_response: RenewDelegationTokenResponse, versions 1-2, flexible 2+ {
        error_code:          error_code, 0+;
        expiry_timestamp_ms: int64,      0+;
        throttle_time_ms:    int32,      0+;
    }
}

message! {
    /// Sets when a delegation token expires (KIP-48).
    expire_delegation_token_request: ExpireDelegationTokenRequest, versions 1-2, flexible 2+ {
        hmac:                  bytes, 0+;
        expiry_time_period_ms: int64, 0+;
    }
}

message! {
    /// Answers `ExpireDelegationTokenRequest`: when it expires.
    expire_delegation_token_response: ExpireDelegationTokenResponse, versions 1-2, flexible 2+ {
        error_code:          error_code, 0+;
        expiry_timestamp_ms: int64,      0+;
        throttle_time_ms:    int32,      0+;
    }
}

message! {
    /// Lists delegation tokens by owner (KIP-48).
    describe_delegation_token_request: DescribeDelegationTokenRequest, versions 1-3, flexible 2+ {
        owners: [DescribeDelegationTokenOwner], 0+ nullable 0+;
    }
    DescribeDelegationTokenOwner {
        principal_type: string, 0+;
        principal_name: string, 0+;
    }
}

message! {
    /// Answers `DescribeDelegationTokenRequest`: tokens.
    describe_delegation_token_response: DescribeDelegationTokenResponse, versions 1-3, flexible 2+ {
        error_code:       error_code,                 0+;
        tokens:           [DescribedDelegationToken], 0+;
        throttle_time_ms: int32,                      0+;
    }
    DescribedDelegationToken {
        principal_type:                 string,                            0+;
        principal_name:                 string,                            0+;
        token_requester_principal_type: string,                            3+;
        token_requester_principal_name: string,                            3+;
        issue_timestamp:                int64,                             0+;
        expiry_timestamp:               int64,                             0+;
        max_timestamp:                  int64,                             0+;
        token_id:                       string,                            0+;
        hmac:                           bytes,                             0+;
        renewers:                       [DescribedDelegationTokenRenewer], 0+;
    }
    DescribedDelegationTokenRenewer {
        principal_type: string, 0+;
        principal_name: string, 0+;
    }
}

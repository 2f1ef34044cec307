// Package nlsredis is what a fleet of processes shares in Redis: the sessions that an
// account may have, and its token.
//
// [NewLimiter] returns a nls.Limiter whose places are leases in Redis. A process that
// is killed loses its places within a lease; who waits is served in the order of
// arrival, whatever the process. [NewTokenSource] returns a nls.TokenSource that asks
// for one token for all.
//
// Redis 5 or newer, alone, with Sentinel or as a cluster: all keys of an account are
// in one slot. They begin with "nls:{account}", and go a day after their last use. A
// user of Redis that is restricted needs those keys, the channels of that name,
// EVALSHA, EVAL and SUBSCRIBE, and INFO if a restart is to be noticed.
//
// A client whose ReadTimeout is short, or with ContextTimeoutEnabled, notices sooner
// that Redis does not answer.
package nlsredis

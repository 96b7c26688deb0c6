/** Numbers of Linux as on x86-64, arm64, riscv64 and loong64. */

export const AF_INET = 2;
export const AF_INET6 = 10;

export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const IPPROTO_IP = 0;
export const IPPROTO_TCP = 6;
export const IPPROTO_IPV6 = 41;
export const IPPROTO_MPTCP = 262;

export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_ERROR = 4;
export const SO_PRIORITY = 12;
export const SO_LINGER = 13;
export const SO_BINDTODEVICE = 25;
export const SO_PROTOCOL = 38;
export const SO_COOKIE = 57;

export const IP_TOS = 1;
export const IPV6_TCLASS = 67;

export const TCP_NODELAY = 1;
export const TCP_SYNCNT = 7;

export const SHUT_WR = 1;

export const MSG_NOSIGNAL = 0x4000;

/*
 * The part of NVMe/TCP that the baseline target and the load generator speak, and nothing of the project's own code:
 * the two are an independent second implementation. Section numbers are those of the NVMe/TCP Transport Specification
 * 1.1 and the NVMe Base Specification 2.1.
 */
#ifndef NVME_TCP_H
#define NVME_TCP_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "NVMe is little-endian and so must this machine be"
#endif

#define PACKED __attribute__((packed))

/* Common header of every PDU (NVMe-TCP 3.6.1). */
struct pdu_header {
  uint8_t type;
  uint8_t flags;
  uint8_t hlen;
  uint8_t pdo;
  uint32_t plen;
} PACKED;

enum {
  PDU_ICREQ = 0x00,
  PDU_ICRESP = 0x01,
  PDU_H2C_TERM_REQ = 0x02,
  PDU_C2H_TERM_REQ = 0x03,
  PDU_CAPSULE_CMD = 0x04,
  PDU_CAPSULE_RESP = 0x05,
  PDU_H2C_DATA = 0x06,
  PDU_C2H_DATA = 0x07,
  PDU_R2T = 0x09,
};

enum { FLAG_LAST_PDU = 4, FLAG_SUCCESS = 8 };

/* ICReq and ICResp (NVMe-TCP 3.6.2.1, 3.6.2.2); `limit` is MAXR2T (0's based) or MAXH2CDATA (bytes). */
struct ic_pdu {
  struct pdu_header header;
  uint16_t pfv;
  uint8_t alignment;
  uint8_t digests;
  uint32_t limit;
  uint8_t reserved[112];
} PACKED;

struct sqe {
  uint8_t opcode;
  uint8_t flags;
  uint16_t cid;
  uint32_t nsid; /* its first byte is FCTYPE in fabrics commands */
  uint32_t cdw2;
  uint32_t cdw3;
  uint64_t mptr;
  uint64_t sgl_address;
  uint32_t sgl_length;
  uint8_t sgl_reserved[3];
  uint8_t sgl_id;
  uint32_t cdw10;
  uint32_t cdw11;
  uint32_t cdw12;
  uint32_t cdw13;
  uint32_t cdw14;
  uint32_t cdw15;
} PACKED;

struct cqe {
  uint32_t dw0;
  uint32_t dw1;
  uint16_t sqhd;
  uint16_t sqid;
  uint16_t cid;
  uint16_t status; /* bits 15:1; bit 0 is the phase tag, unused in fabrics */
} PACKED;

struct capsule_cmd {
  struct pdu_header header;
  struct sqe sqe;
} PACKED;

struct capsule_resp {
  struct pdu_header header;
  struct cqe cqe;
} PACKED;

/* H2CData, C2HData and R2T share one shape; `ttag` is reserved in C2HData. */
struct data_pdu {
  struct pdu_header header;
  uint16_t cid;
  uint16_t ttag;
  uint32_t offset;
  uint32_t length;
  uint32_t reserved;
} PACKED;

struct connect_data {
  uint8_t hostid[16];
  uint16_t cntlid;
  uint8_t reserved[238];
  char subnqn[256];
  char hostnqn[256];
  uint8_t reserved2[256];
} PACKED;

_Static_assert(sizeof(struct ic_pdu) == 128, "ICReq and ICResp");
_Static_assert(sizeof(struct capsule_cmd) == 72, "CapsuleCmd");
_Static_assert(sizeof(struct capsule_resp) == 24, "CapsuleResp");
_Static_assert(sizeof(struct data_pdu) == 24, "H2CData, C2HData, R2T");
_Static_assert(sizeof(struct connect_data) == 1024, "Connect data");

/* Opcodes. */
enum {
  ADMIN_IDENTIFY = 0x06,
  ADMIN_SET_FEATURES = 0x09,
  ADMIN_GET_FEATURES = 0x0a,
  ADMIN_ASYNC_EVENT = 0x0c,
  ADMIN_KEEP_ALIVE = 0x18,
  IO_FLUSH = 0x00,
  IO_WRITE = 0x01,
  IO_READ = 0x02,
  FABRICS = 0x7f,
};
enum { FCTYPE_PROPERTY_SET = 0, FCTYPE_CONNECT = 1, FCTYPE_PROPERTY_GET = 4 };

enum { PROPERTY_CAP = 0x00, PROPERTY_VS = 0x08, PROPERTY_CC = 0x14, PROPERTY_CSTS = 0x1c };
enum { FEATURE_NUMBER_OF_QUEUES = 0x07, FEATURE_ASYNC_EVENT = 0x0b, FEATURE_KEEP_ALIVE = 0x0f };

/* SGL descriptor identifiers: data in the capsule at an offset, and data by C2HData or R2T and H2CData. */
enum { SGL_OFFSET = 0x01, SGL_TRANSPORT = 0x5a };

/* SQE flags: metadata and data by SGL. Connect attribute: no flow control of the submission queue. */
enum { SQE_SGL = 0x40, CATTR_DISABLE_SQFLOW = 4 };

/* Status codes, SCT in bits 10:8, SC in bits 7:0. */
enum {
  STATUS_SUCCESS = 0x0000,
  STATUS_INVALID_OPCODE = 0x0001,
  STATUS_INVALID_FIELD = 0x0002,
  STATUS_INVALID_NAMESPACE = 0x000b,
  STATUS_COMMAND_SEQUENCE_ERROR = 0x000c,
  STATUS_SGL_LENGTH_INVALID = 0x000f,
  STATUS_LBA_OUT_OF_RANGE = 0x0080,
  STATUS_CONNECT_INVALID_PARAMETERS = 0x0182,
};

#endif

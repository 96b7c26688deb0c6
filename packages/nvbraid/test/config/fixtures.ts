/*
 * Files as `nvmetcli save` writes them on different kernels: keys sorted, two spaces, texts in sections, numbers beside
 * them, lists in the order of the directory, a newline at the end.
 */

/** A kernel of 2026 with protection information, ANA, reservations and passthru; two ports, a referral, a second group. */
export const RECENT = `{
  "discovery": {
    "nqn": "nqn.2014-08.org.nvmexpress.discovery"
  },
  "hosts": [
    {
      "nqn": "nqn.2014-08.org.nvmexpress:uuid:faadcb53-9214-4fbb-a746-7d94c023b53e"
    },
    {
      "nqn": "hostnqn"
    }
  ],
  "ports": [
    {
      "addr": {
        "adrfam": "ipv4",
        "traddr": "192.168.2.80",
        "treq": "not specified",
        "trsvcid": "4420",
        "trtype": "tcp",
        "tsas": "none"
      },
      "ana_groups": [
        {
          "ana": {
            "state": "non-optimized"
          },
          "grpid": 2
        },
        {
          "ana": {
            "state": "optimized"
          },
          "grpid": 1
        }
      ],
      "param": {
        "inline_data_size": "16384",
        "max_queue_size": "1024",
        "mdts": "0",
        "pi_enable": "0"
      },
      "portid": 2,
      "referrals": [
        {
          "addr": {
            "adrfam": "ipv6",
            "portid": "0",
            "traddr": "fd00::1",
            "treq": "not specified",
            "trsvcid": "8009",
            "trtype": "tcp"
          },
          "enable": 1,
          "name": "the-other"
        }
      ],
      "subsystems": [
        "testnqn",
        "nqn.2014-08.org.nvmexpress:NVMf:uuid:23d9d3e0-a83e-45d7-a902-3e80679385f8"
      ]
    },
    {
      "addr": {
        "adrfam": "",
        "traddr": "",
        "treq": "not specified",
        "trsvcid": "",
        "trtype": "",
        "tsas": ""
      },
      "ana_groups": [
        {
          "ana": {
            "state": "optimized"
          },
          "grpid": 1
        }
      ],
      "param": {
        "inline_data_size": "-1",
        "max_queue_size": "-1",
        "mdts": "-1",
        "pi_enable": "0"
      },
      "portid": 0,
      "referrals": [],
      "subsystems": []
    }
  ],
  "subsystems": [
    {
      "allowed_hosts": [],
      "attr": {
        "allow_any_host": "1",
        "cntlid_max": "65519",
        "cntlid_min": "1",
        "firmware": "6.18.0",
        "ieee_oui": "0x000000",
        "model": "Linux",
        "pi_enable": "0",
        "qid_max": "128",
        "serial": "d958dba9aa7f964f3163",
        "subsys_vendor_id": "0x0",
        "vendor_id": "0x1af4",
        "version": "1.3"
      },
      "namespaces": [
        {
          "ana": {
            "grpid": "2"
          },
          "ana_grpid": 2,
          "device": {
            "nguid": "00000000-0000-0000-0000-000000000000",
            "path": "/srv/pxe.img",
            "uuid": "43c4260a-826b-475d-9b42-883b4258f53f"
          },
          "enable": 1,
          "nsid": 10,
          "resv": {
            "enable": "0"
          }
        },
        {
          "ana": {
            "grpid": "1"
          },
          "ana_grpid": 1,
          "device": {
            "nguid": "ef90689c-6c46-d44c-89c1-4067801309a8",
            "path": "(null)",
            "uuid": "91fdba0d-f87b-4c25-b80f-db7be1418b9e"
          },
          "enable": 0,
          "nsid": 1,
          "resv": {
            "enable": "0"
          }
        }
      ],
      "nqn": "testnqn",
      "passthru": [
        {
          "admin_timeout": 0,
          "clear_ids": 0,
          "device": {
            "path": "(null)"
          },
          "enable": 0,
          "io_timeout": 0
        }
      ]
    },
    {
      "allowed_hosts": [
        "hostnqn",
        "nqn.2014-08.org.nvmexpress:uuid:faadcb53-9214-4fbb-a746-7d94c023b53e"
      ],
      "attr": {
        "allow_any_host": "0",
        "cntlid_max": "65519",
        "cntlid_min": "1",
        "firmware": "6.18.0",
        "ieee_oui": "0x000000",
        "model": "Linux",
        "pi_enable": "0",
        "qid_max": "128",
        "serial": "0c74361069d9db6c65ef",
        "subsys_vendor_id": "0x0",
        "vendor_id": "0x0",
        "version": "2.1"
      },
      "namespaces": [],
      "nqn": "nqn.2014-08.org.nvmexpress:NVMf:uuid:23d9d3e0-a83e-45d7-a902-3e80679385f8",
      "passthru": []
    }
  ]
}
`;

/** Linux 5.5: no tsas, no sections ana and resv, no discovery_nqn, few attributes. */
export const OLD = `{
  "hosts": [
    {
      "nqn": "nqn.2014-08.org.nvmexpress:uuid:faadcb53-9214-4fbb-a746-7d94c023b53e"
    }
  ],
  "ports": [
    {
      "addr": {
        "adrfam": "ipv4",
        "traddr": "192.168.2.80",
        "treq": "not specified",
        "trsvcid": "8009",
        "trtype": "tcp"
      },
      "ana_groups": [
        {
          "ana": {
            "state": "optimized"
          },
          "grpid": 1
        }
      ],
      "param": {
        "inline_data_size": "16384"
      },
      "portid": 1,
      "referrals": [],
      "subsystems": []
    }
  ],
  "subsystems": [
    {
      "allowed_hosts": [
        "nqn.2014-08.org.nvmexpress:uuid:faadcb53-9214-4fbb-a746-7d94c023b53e"
      ],
      "attr": {
        "allow_any_host": "0",
        "serial": "967af933980faedc",
        "version": "1.3"
      },
      "namespaces": [
        {
          "ana_grpid": 1,
          "device": {
            "nguid": "00000000-0000-0000-0000-000000000000",
            "path": "/dev/sdc",
            "uuid": "c2c140e4-aff2-4df4-8926-1686a485e99d"
          },
          "enable": 1,
          "nsid": 1
        }
      ],
      "nqn": "nqn.2014-08.org.nvmexpress:NVMf:uuid:23d9d3e0-a83e-45d7-a902-3e80679385f8"
    }
  ]
}
`;

/** A target of which nothing was configured, by an nvmetcli that knew neither hosts nor ports. */
export const EMPTY = `{
  "hosts": [],
  "ports": [],
  "subsystems": []
}
`;

/** What is not ASCII is escaped, an attribute of a later kernel is a text like any other. */
export const FOREIGN = `{
  "debug": {
    "level": "7"
  },
  "hosts": [],
  "ports": [],
  "subsystems": [
    {
      "allowed_hosts": [],
      "attr": {
        "allow_any_host": "1",
        "later_thing": "on",
        "model": "Linux"
      },
      "extra": [
        1,
        1.0,
        12345678901234567890,
        "\\u007f\\n",
        null
      ],
      "namespaces": [],
      "nqn": "nqn.2026-01.de.example:pl\\u00e4tte-\\ud83d\\ude80"
    }
  ]
}
`;

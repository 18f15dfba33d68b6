// SPDX-License-Identifier: BSD-2-Clause
// What:   physdev_op: what every domain may call, and the first domain's interrupt operations with
// bad input. Why:    set_iopl is called by every Linux; wrong interrupt numbers must not reach the
// hardware. How:    good and bad values. Expect: 0, -EINVAL, -ENOSYS as documented in
// docs/abi/physdev.md.
#include "runtime.hpp"

using namespace guest;

void guest::test_main() {
    for (std::uint32_t level = 0; level <= 3; ++level) {
        cero_physdev_set_iopl iopl{level};
        check_equal("set_iopl", physdev_op(CERO_PHYSDEVOP_set_iopl, &iopl), 0);
    }
    cero_physdev_set_iopl bad{4};
    check_equal("set_iopl beyond 3", physdev_op(CERO_PHYSDEVOP_set_iopl, &bad), -CERO_EINVAL);
    bad.iopl = 1;
    physdev_op(CERO_PHYSDEVOP_set_iopl, &bad);
    static unsigned char bitmap[8192];
    cero_physdev_set_iobitmap map{address(bitmap), 65536, 0};
    check_equal("set_iobitmap", physdev_op(CERO_PHYSDEVOP_set_iobitmap, &map), 0);
    map.nr_ports = 65537;
    check_equal("set_iobitmap of too many ports", physdev_op(CERO_PHYSDEVOP_set_iobitmap, &map),
                -CERO_EINVAL);
    check_equal(
        "set_iobitmap of none",
        [] {
            cero_physdev_set_iobitmap none{0, 0, 0};
            return physdev_op(CERO_PHYSDEVOP_set_iobitmap, &none);
        }(),
        0);

    cero_physdev_eoi eoi{0x7fffffff};
    check_equal("eoi of an interrupt that does not exist", physdev_op(CERO_PHYSDEVOP_eoi, &eoi),
                -CERO_EINVAL);
    cero_physdev_irq_status_query query{0x7fffffff, 0};
    check_equal("irq_status_query of one that does not exist",
                physdev_op(CERO_PHYSDEVOP_irq_status_query, &query), -CERO_EINVAL);
    cero_physdev_map_pirq pirq{};
    pirq.domid = CERO_DOMID_SELF;
    pirq.type = CERO_MAP_PIRQ_TYPE_GSI;
    pirq.index = 0x7fffffff;
    pirq.pirq = -1;
    check_true("map_pirq of a GSI that does not exist",
               physdev_op(CERO_PHYSDEVOP_map_pirq, &pirq) < 0);
    pirq.type = 77;
    check_true("map_pirq of an unknown type", physdev_op(CERO_PHYSDEVOP_map_pirq, &pirq) < 0);
    cero_physdev_unmap_pirq unmap{CERO_DOMID_SELF, 0, 0x7fffffff};
    check_true("unmap_pirq of one that does not exist",
               physdev_op(CERO_PHYSDEVOP_unmap_pirq, &unmap) < 0);
    check_equal("unknown command", physdev_op(99, &eoi), -CERO_ENOSYS);
    for (const Word command :
         {Word{CERO_PHYSDEVOP_set_iopl}, Word{CERO_PHYSDEVOP_set_iobitmap},
          Word{CERO_PHYSDEVOP_eoi}, Word{CERO_PHYSDEVOP_map_pirq}, Word{CERO_PHYSDEVOP_unmap_pirq}})
        check_equal("bad argument", hypercall(CERO_HYPERCALL_physdev_op, command, unmapped_address),
                    -CERO_EFAULT);
}

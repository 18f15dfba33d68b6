// SPDX-License-Identifier: BSD-2-Clause
// What:   console_io: write, read, bad buffers, unknown commands.
// Why:    the first domain's console goes through it; its buffer is the first guest memory that the
// hypervisor reads. How:    writes of no, of some and of many bytes; reads with nothing typed;
// buffers that must be refused. Expect: write returns 0, read the number of bytes (0 here);
// -EFAULT, -ENOSYS else.
#include "runtime.hpp"

using namespace guest;

void guest::test_main() {
    static char buffer[3000];
    check_equal("write of nothing", console_io(CERO_CONSOLEIO_write, 0, buffer), 0);
    check_equal("write", console_io(CERO_CONSOLEIO_write, 12, "console_io: "), 0);
    for (unsigned i = 0; i < sizeof buffer; ++i)
        buffer[i] = i % 75 == 74 ? '\n' : static_cast<char>('a' + i % 26);
    check_equal("write of many bytes", console_io(CERO_CONSOLEIO_write, sizeof buffer, buffer), 0);
    check_equal("read with nothing typed", console_io(CERO_CONSOLEIO_read, sizeof buffer, buffer),
                0);
    for (const Word bad : {hypervisor_address, noncanonical_address, unmapped_address})
        check_equal("write from a bad buffer",
                    hypercall(CERO_HYPERCALL_console_io, CERO_CONSOLEIO_write, 8, bad),
                    -CERO_EFAULT);
    check_equal("unknown command", console_io(99, 0, buffer), -CERO_ENOSYS);
}

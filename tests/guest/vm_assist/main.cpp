// SPDX-License-Identifier: BSD-2-Clause
// What:   vm_assist: each assist, on and off; unknown ones.
// Why:    Linux asks for several and uses one result.
// How:    enables and disables each.
// Expect: 0 for those that 64-bit guests know; -EINVAL for the rest; -ENOSYS for an unknown
// command.
#include "runtime.hpp"

using namespace guest;

void guest::test_main() {
    for (const Word type : {Word{CERO_VMASST_TYPE_writable_pagetables},
                            Word{CERO_VMASST_TYPE_runstate_update_flag}}) {
        check_equal("enable", vm_assist(CERO_VMASST_CMD_enable, type), 0);
        check_equal("disable", vm_assist(CERO_VMASST_CMD_disable, type), 0);
    }
    // Xen knows these two; Cero leaves them out on purpose.
    for (const Word type :
         {Word{CERO_VMASST_TYPE_architectural_iopl}, Word{CERO_VMASST_TYPE_m2p_strict}}) {
        const long result = vm_assist(CERO_VMASST_CMD_enable, type);
        check_true("enable of an optional assist", result == 0 || result == -CERO_EINVAL);
    }
    for (const Word type : {Word{6}, Word{31}, Word{33}, Word{63}, Word{64}, Word{1000}})
        check_equal("enable of an unknown assist", vm_assist(CERO_VMASST_CMD_enable, type),
                    -CERO_EINVAL);
    check_equal("unknown command", vm_assist(7, CERO_VMASST_TYPE_writable_pagetables),
                -CERO_ENOSYS);
}

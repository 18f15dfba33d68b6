/* SPDX-License-Identifier: BSD-2-Clause */
/* Constants shared by assembly and C++; trap_frame.hpp and thread.hpp assert that they hold. */
#pragma once

#define KERNEL_STACK_SIZE 16384
#define FRAME_SIZE 168
#define FRAME_ERROR_CODE 120
#define FRAME_CS 136
#define IRET_HYPERCALL 23
#define VECTOR_EVENT 256
#define VECTOR_FAILSAFE 257

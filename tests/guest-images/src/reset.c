#include "guest.h"

void guest_main(const void *fdt)
{
    (void)fdt;
    uart_init();
    print("resetting\n");
    reset();
}

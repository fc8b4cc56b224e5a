; A program that a PC's loader starts without firmware: an ELF file, with a header of Multiboot 1 if MULTIBOOT is defined, else
; with the note of PVH. It prints to port 0xe9 what it is told, and ends the machine by port 0x501 with status 33.
;
; GNU, "Multiboot Specification version 0.6.96"; Xen, docs/misc/pvh.pandoc and start_info.h.
        bits 32
BASE    equ 0x100000
        org BASE

        db 0x7f, "ELF", 1, 1, 1, 0
        times 8 db 0
        dw 2, 3                 ; executable, 386
        dd 1, entry, segments - BASE, 0, 0
        dw 52, 32, 2, 40, 0, 0
segments:
        dd 1, 0, BASE, BASE, end - BASE, end - BASE + 0x2000, 7, 0x1000
        dd 4, note - BASE, note, note, 20, 20, 4, 4
note:
%ifdef MULTIBOOT
        align 4
        dd 0x1badb002, 3, -(0x1badb002 + 3)
        times 2 dd 0
%else
        dd 4, 4, 18             ; sizes of name and value, XEN_ELFNOTE_PHYS32_ENTRY
        db "Xen", 0
        dd entry
%endif

entry:
        mov esp, end + 0x1000
        mov ebp, ebx
        ; What is behind the file's contents must be zero.
        mov esi, name
        cmp dword [end + 0x1ffc], 0
        jne wrong
%ifdef MULTIBOOT
        cmp eax, 0x2badb002
        jne wrong
        call text
        mov esi, [ebp + 16]
        call line
        mov esi, upper
        call text
        mov eax, [ebp + 8]
        call hex
        call newline
        mov edi, [ebp + 48]     ; the map: length at 44
        mov ecx, [ebp + 44]
        add ecx, edi
.range: mov eax, [edi + 8]
        mov ebx, [edi + 4]
        mov edx, [edi + 12]
        mov esi, [edi + 20]
        call range
        add edi, [edi]
        add edi, 4
        cmp edi, ecx
        jb .range
        mov edi, [ebp + 24]     ; the modules
        mov ecx, [ebp + 20]
.module:
        jecxz done
        mov esi, [edi + 8]
        call text
        mov esi, colon
        call text
        mov esi, [edi]
        mov edx, [edi + 4]
        sub edx, esi
        call bytes
        call newline
        add edi, 16
        dec ecx
        jmp .module
%else
        cmp dword [ebp], 0x336ec578
        jne wrong
        call text
        mov esi, [ebp + 24]
        call line
        mov edi, [ebp + 40]     ; the map
        mov ecx, [ebp + 48]
.range: mov eax, [edi + 4]
        mov ebx, [edi]
        mov edx, [edi + 8]
        mov esi, [edi + 16]
        call range
        add edi, 24
        dec ecx
        jnz .range
        mov esi, tables
        call text
        mov esi, [ebp + 32]
        mov edx, 8
        test esi, esi
        jz .none
        call bytes
.none:  call newline
        mov edi, [ebp + 16]     ; the modules
        mov ecx, [ebp + 12]
.module:
        jecxz done
        mov esi, [edi]
        mov edx, [edi + 8]
        call bytes
        call newline
        add edi, 32
        dec ecx
        jmp .module
%endif
done:   mov al, 16
exit:   mov dx, 0x501
        out dx, al
        hlt
        jmp exit
wrong:  xor al, al
        jmp exit

; EBX + EDX, type ESI
range:  push esi
        mov eax, ebx
        call hex
        mov al, ' '
        out 0xe9, al
        mov eax, edx
        call hex
        mov al, ' '
        out 0xe9, al
        pop eax
        add al, '0'
        out 0xe9, al
        jmp newline
text:   lodsb
        test al, al
        jz .end
        out 0xe9, al
        jmp text
.end:   ret
line:   call text
newline:
        mov al, 10
        out 0xe9, al
        ret
bytes:  test edx, edx
        jz .end
        lodsb
        out 0xe9, al
        dec edx
        jmp bytes
.end:   ret
hex:    push ecx
        mov ecx, 8
.digit: rol eax, 4
        push eax
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe .out
        add al, 'a' - '9' - 1
.out:   out 0xe9, al
        pop eax
        dec ecx
        jnz .digit
        pop ecx
        ret

%ifdef MULTIBOOT
name:   db "multiboot: ", 0
upper:  db "upper KiB: ", 0
colon:  db ": ", 0
%else
name:   db "PVH: ", 0
tables: db "tables: ", 0
%endif
        align 4
end:
